vcl 4.1;

# Varnish: paths below /miss/ are passed, all others are cached by their Cache-Control.
backend default {
    .host = "$host";
    .port = "$origin_port";
    .max_connections = 1024;
}

sub vcl_recv {
    if (req.url ~ "^/miss/") {
        return (pass);
    }
    return (hash);
}
