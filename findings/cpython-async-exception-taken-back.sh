#!/usr/bin/env bash
# CPython 3.11: a process in which an exception for a thread is taken back stands still where something traces it.
#
# Seen with: CPython 3.11.7. Not with 3.10.13, 3.12.1 and 3.13.0.
# Needs: python3.11, as Debian 12 has it.
#
# Expected: PyThreadState_SetAsyncExc with NULL for the exception clears one that the thread was to raise, if there
#   is one; the documentation says that this raises no exceptions.
# Happens: it asks the interpreter to look for an exception all the same. There is none, so the request is never
#   answered, and never goes away. Where a trace function is set (coverage, a debugger), the next call of a Python
#   function is looked at again and again for it: the process takes all of the processor, holds the interpreter's
#   lock, and does nothing more.
#
# Output:
#   without a trace function: called
#   with a trace function: stands still
set -euo pipefail

command -v python3.11 >/dev/null || { echo "there is no python3.11" >&2; exit 2; }

program='
import ctypes, sys, threading

def called():
    pass

if sys.argv[1] == "with":
    sys.settrace(lambda *_: None)
ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
called()
print("called")
'
tried() { timeout 10 python3.11 -c "$program" "$1" || { [ $? = 124 ] && echo "stands still"; }; }

without=$(tried without) with=$(tried with)
echo "without a trace function: $without"
echo "with a trace function: $with"
[ "$without" = called ] && [ "$with" = "stands still" ]
