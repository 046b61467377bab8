# shellcheck shell=bash
# Sourced by scripts/test and .ci/run: named, timed steps and a table of them at the end, also on failure.
#
#   step NAME COMMAND...   runs the command; a failure is noted and the next step still runs
#   finish_steps           prints the table; non-zero if a step failed

step_rows=()
failed_steps=()
running_step=
running_since=0

# Bash ignores `set -e` inside a function called here: give each step one command or one pipeline.
step() {
  local status=0 outcome=ok seconds name=$1
  shift
  printf '\n== %s\n' "$name"
  running_step=$name
  running_since=$SECONDS
  "$@" || status=$?
  running_step=
  seconds=$((SECONDS - running_since))

  if ((status != 0)); then
    outcome=FAILED
    failed_steps+=("$name")
    if ((status == 124)); then
      printf -- '-- %s: stopped at its time limit\n' "$name"
    else
      printf -- '-- %s: failed with exit code %d\n' "$name" "$status"
    fi
  fi
  printf -- '-- %s: %d s\n' "$name" "$seconds"
  note_row "$outcome" "$name" "$seconds"
}

note_row() {
  step_rows+=("$(printf '%-7s %-24s %5d s' "$@")")
}

finish_steps() {
  if [[ -n $running_step ]]; then
    failed_steps+=("$running_step")
    note_row STOPPED "$running_step" "$((SECONDS - running_since))"
  fi
  printf '\n== times\n'
  if ((${#step_rows[@]} > 0)); then printf '%s\n' "${step_rows[@]}"; fi
  printf '%-7s %-24s %5d s\n' total '' "$SECONDS"
  ((${#failed_steps[@]} == 0))
}
