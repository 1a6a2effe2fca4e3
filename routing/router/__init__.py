"""From a request to its route: the route table, policies, tags, and memoised resolution."""
