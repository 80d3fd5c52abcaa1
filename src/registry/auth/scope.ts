// https://distribution.github.io/distribution/spec/auth/scope/

/** Returns the scope to push to a repository, and to read from it. */
export function pushScope(repository: string): string {
  return `repository:${repository}:pull,push`;
}

/** Returns the scope to delete from a repository. Some registries require the push right for that. */
export function deleteScope(repository: string): string {
  return `${pushScope(repository)},delete`;
}

/** Returns the scope to read from a repository. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}

/** Returns the repository of a scope. */
export function repositoryOf(scope: string): string {
  return parseScope(scope).resource.replace(/^repository:/, "");
}

/** Tells whether one of the scopes has the wanted resource and all wanted actions. */
export function isCovered(wanted: string, scopes: readonly string[]): boolean {
  const { resource, actions } = parseScope(wanted);
  return scopes.map(parseScope).some((has) => has.resource === resource && actions.isSubsetOf(has.actions));
}

/** Splits `repository:localhost:5000/app:pull,push` at its last colon: the name may contain colons. */
function parseScope(scope: string): { resource: string; actions: Set<string> } {
  const colon = scope.lastIndexOf(":");
  return { resource: scope.slice(0, colon), actions: new Set(scope.slice(colon + 1).split(",")) };
}
