"""The work of a store: functions over a :class:`~chuk_artifacts.operations.scope.Scope`.

Store, gateway and filesystem call these modules, the only ones that use both storage and catalog.
"""
