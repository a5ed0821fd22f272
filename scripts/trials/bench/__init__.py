"""How fast jobstore is, in relation to what is possible in the same minute on the same machine."""
