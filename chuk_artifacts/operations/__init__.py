"""What a store does: functions over a :class:`~chuk_artifacts.operations.scope.Scope`.

The store, the gateway and the filesystem stand on these modules. Only they know both storage and catalog.
"""
