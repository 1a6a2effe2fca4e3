"""`manage.py doctor`: checks what the gateway depends on, and says what to do about each finding."""
