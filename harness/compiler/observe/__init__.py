"""What an archive reports about itself: which operators its kernels compute, how long they take, what they return."""
