package mafalda

// Inject makes a Worker die of the given error, as acceptance.Target.Inject.
var Inject = inject
