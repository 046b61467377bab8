# Waits for the end of the process that holds the other end of the pipe, however it ends, then ends what runs in the
# folder $1 and removes it. Runs as the servers' user: it can end nobody else's processes.
trap '' HUP INT TERM
read -r _
round=0
while [ "$round" -lt 100 ]; do
  found=$(find /proc -mindepth 2 -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null | cut -d / -f 3)
  [ -n "$found" ] || break
  kill -KILL $found 2>/dev/null
  round=$((round + 1))
  sleep 0.02
done
# PostgreSQL's interlock is the one thing that it keeps outside of its folder.
for state in "$1"/*/postmaster.pid; do
  [ -e "$state" ] || continue
  segment=$(sed -n 's/^ *[0-9]* *\([0-9]*\) *$/\1/p' "$state" | tail -n 1)
  [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
done
rm -rf "$1"
