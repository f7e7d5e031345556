"""The page in the browser, `videogen app`."""
