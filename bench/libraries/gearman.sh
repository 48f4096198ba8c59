#!/bin/sh
# Debian's gearman-tools, which is libgearman: gearman.sh worker|client PORT
if [ "$1" = worker ]; then
    exec gearman -h 127.0.0.1 -p "$2" -w -f echo
fi
number=1
for job in 'full first' 'echo second'; do
    if result=$(gearman -h 127.0.0.1 -p "$2" -f "${job% *}" "${job#* }" 2>&1); then
        echo "$number result $result"
    else
        echo "$number error $(echo "$result" | head -n 1)"
    fi
    number=$((number + 1))
done
