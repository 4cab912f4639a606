// A worker whose test hangs outlives a runner that was interrupted, and so does what the test started.
process.once('disconnect', () => process.exit(1));
