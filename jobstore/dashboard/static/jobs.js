// What makes pages live. Every page works without it.
