"""The page of ``darkmatter report``: one HTML file that needs nothing but a browser."""
