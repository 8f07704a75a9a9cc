"""What becomes of a log line on its way out: its code, what it must not tell, how often it is repeated, where it goes."""
