"""Make an archive report about itself: which operators its kernels compute, how long they take, what they return."""
