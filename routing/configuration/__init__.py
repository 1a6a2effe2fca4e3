"""What operators ask for: from text or rows to the table that is served, checked by one decoder and swapped whole."""
