# bash completion of lvs-nat: commands, their options, files.

_lvs_nat_words() { # WORDS: those of them that begin as the word at the cursor does
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_lvs_nat_names() { # KIND: names of files (-f) or of directories (-d)
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

_lvs_nat() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=
    local options="--rules --config --run-dir --state-dir --help"
    # bash makes three words of --rules=FILE.
    if [ "$cur" = = ]; then
        cur=
    elif [ "$before" = = ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    [ "$COMP_CWORD" -eq 1 ] || command=${COMP_WORDS[1]}
    COMPREPLY=()
    case $before in
        --rules | --config) _lvs_nat_names -f; return ;;
        --run-dir | --state-dir) _lvs_nat_names -d; return ;;
        --service | --timeout | --for) return ;; # whatever it may be, no option
        --colour) _lvs_nat_words "auto always never"; return ;;
    esac
    case $command in
        "")
            _lvs_nat_words "start stop restart try-restart reload force-reload reexec status
                drain disable enable weight diff save configtest rules run demo --help --version"
            return ;;
        stop) options+=" --if-stop-job" ;;
        diff) options+=" --json" ;;
        status) options+=" --json --checks" ;;
        drain) options+=" --service --timeout --wait --for --force --json" ;;
        disable) options+=" --service --for --force --json" ;;
        enable) options+=" --service --json" ;;
        weight) options+=" --service --force --json" ;;
        demo) options+=" --keep --colour" ;;
    esac
    if [ "$command" = rules ] && [ "${cur#-}" = "$cur" ]; then
        _lvs_nat_names -f
    else
        _lvs_nat_words "$options"
    fi
}

complete -F _lvs_nat lvs-nat
