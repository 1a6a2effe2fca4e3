"""Names of parameters in queries and bodies, and how leniently backends read them."""


def loose_name(name: str) -> str:
    """A form of the name that is the same for any two names that some backend takes for one parameter.

    PHP strips leading white space, ends a name at `[` and reads `.` and spaces as `_`; Go and .NET compare JSON names
    without case; C libraries end a string at a null character.
    """
    text = name.partition("\0")[0].strip().partition("[")[0]
    return text.replace(".", "_").replace(" ", "_").casefold()
