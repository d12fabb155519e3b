"""Running a plan: tasks without Ray, the executors that map them, and the driver."""
