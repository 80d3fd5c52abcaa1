import { expect, test } from "bun:test";
import { parseProxyCommand } from "../src/cli/proxy-program.ts";

test.each(["http://127.0.0.1:5000", "https://registry.example.com", "registry.example.com"])(
  "proxy %s is the command, since a registry has no path",
  (target) => {
    expect(parseProxyCommand(["proxy", target], {})).toMatchObject({
      target: { host: target.replace(/^https?:\/\//, "") },
    });
  },
);

test.each(["http://127.0.0.1:5000/my/app:v1", "registry.example.com/my/app:v1"])(
  "proxy %s pushes the engine's image of that name",
  (target) => {
    expect(parseProxyCommand(["proxy", target], {})).toBeUndefined();
  },
);
