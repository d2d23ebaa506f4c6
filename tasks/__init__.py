"""A stage plus its policy: what to repeat, how long it may take, under which tags it is counted. The work goes through DVC."""
