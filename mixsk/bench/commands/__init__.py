"""The commands of `mixsk bench`, a module each: `configure(parser)` and `run(args, parser)`."""
