"""The portal: pages for the people of consumers. They see what is their consumer's, and nothing of any other."""
