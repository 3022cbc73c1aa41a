"""Tests with programs that others wrote: web servers, agents, task queues, notebooks and services, as they are."""
