"""Every built-in plugin of darkmatter."""
