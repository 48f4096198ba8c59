#!/bin/sh
# Debian's gearman-tools, which is libgearman: gearman.sh worker|client PORT [FUNCTION]
if [ "$1" = worker ]; then
    # Without a command it has no result; with one, most of the time goes into starting that.
    exec gearman -h 127.0.0.1 -p "$2" -w -f echo ${3:+-- cat}
fi
number=1
for job in "$3 first" 'echo second'; do
    result=$(gearman -h 127.0.0.1 -p "$2" -f "${job% *}" "${job#* }" 2>&1)
    # Its exit status is 0 whatever happens.
    case $result in
        gearman:*) echo "$number error $result" ;;
        *) echo "$number result $result" ;;
    esac
    number=$((number + 1))
done
