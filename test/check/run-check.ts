import { join } from "node:path";
import { type Checked, type CheckOptions, checkRegistry } from "../../src/check/check.ts";
import type { StepName } from "../../src/check/steps.ts";
import { proxyFrom } from "../../src/registry/http/proxy.ts";
import { createAuthority } from "../support/certificates.ts";
import { openForAll } from "../support/open-for-all.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

export const ME = { username: "me", password: "hush-Xq7-hush-Xq7" };

type Given = Partial<CheckOptions> & { readonly host: string; readonly repository?: string };

export function optionsOf({ host, repository = "team/app", ...given }: Given): CheckOptions {
  return {
    target: { scheme: undefined, host, ...(repository !== "" && { repository }) },
    headers: {},
    insecure: false,
    chunkBytes: undefined,
    stallTimeoutMs: 5000,
    proxy: proxyFrom(given.environment ?? {}),
    caFiles: [],
    skipVerify: false,
    clientCertificate: undefined,
    login: Promise.resolve({ credentials: ME }),
    cacheDirectory: join(import.meta.dir, "no-cache"),
    cacheOwners: [],
    uploadBytes: undefined,
    environment: {},
    ...given,
  };
}

/** Checks the repository `team/app` of a registry as the user `me`. */
export function check(given: Given): Promise<Checked> {
  const onStep = { begin: () => {}, end: () => {} };
  return checkRegistry(optionsOf(given), onStep, new AbortController().signal);
}

export function stepOf({ steps }: Checked, name: StepName) {
  const found = steps.find(({ step }) => step === name);
  if (found === undefined) throw new Error(`there is no step ${name}`);
  return found;
}

/** Returns the states by the names of the steps. */
export function statesOf({ steps }: Checked): Record<string, string> {
  return Object.fromEntries(steps.map(({ step, state }) => [step, state]));
}

/** Returns the steps that failed, and their codes. */
export function failuresOf({ steps }: Checked) {
  return steps.filter(({ state }) => state === "failed").map(({ step, facts }) => [step, facts?.["code"]]);
}

/** Makes an authority for the tests of a file, which trust it with `caFiles`. */
export const openAuthority = () =>
  openForAll(async (resources) => createAuthority(resources.use(await temporaryFolder()).path));
