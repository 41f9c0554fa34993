"""How fast the parts are on this machine, and how much memory they take: what `gesturegen bench` measures."""
