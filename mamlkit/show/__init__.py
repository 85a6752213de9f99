"""What a reader looks at: plots, widgets, live pages, exercises, reports."""
