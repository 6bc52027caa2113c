"""Is a robustness number to be trusted? Checks for known ways in which an evaluation flatters."""
