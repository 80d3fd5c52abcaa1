// https://distribution.github.io/distribution/spec/auth/scope/

/** The right to push to a repository, and to read from it. */
export function pushScope(repository: string): string {
  return `repository:${repository}:pull,push`;
}

/** The right to delete from a repository. Some registries ask for that to push instead. */
export function deleteScope(repository: string): string {
  return `${pushScope(repository)},delete`;
}

/** The right to read from a repository. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}

/** Returns the repository that a scope is for. */
export function repositoryOf(scope: string): string {
  return parseScope(scope).resource.replace(/^repository:/, "");
}

/** Tells whether one of the scopes is for the same resource, and allows all the wanted actions. */
export function isCovered(wanted: string, scopes: readonly string[]): boolean {
  const { resource, actions } = parseScope(wanted);
  return scopes.map(parseScope).some((has) => has.resource === resource && actions.isSubsetOf(has.actions));
}

/** Splits `repository:localhost:5000/app:pull,push`: a name may contain colons, actions do not. */
function parseScope(scope: string): { resource: string; actions: Set<string> } {
  const colon = scope.lastIndexOf(":");
  return { resource: scope.slice(0, colon), actions: new Set(scope.slice(colon + 1).split(",")) };
}
