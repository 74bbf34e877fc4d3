"""What a person sees of the commands: progress, tables, lines; imported when there is some."""
