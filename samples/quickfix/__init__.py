"""QuickFIX as a client of Doorward: the engine under remote control, its dictionaries, what went over the wire."""
