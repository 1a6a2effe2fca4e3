"""Which of a service's targets gets the next call: the operator's word, then health, then how busy each is."""
