import { homedir } from "node:os";
import type { LoginEnvironment } from "../logins/login-places.ts";
import type { Environment } from "./values.ts";

/** Returns the environment in which this process looks for logins. */
export function loginEnvironment(variables: Environment, authFile?: string): LoginEnvironment {
  return {
    variables,
    home: homedir(),
    platform: process.platform,
    userId: process.getuid?.(),
    authFile,
  };
}
