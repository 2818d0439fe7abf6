/** Debian packages, for machines where a tool cannot come from its own home. */
import { capture, say, succeeds, which } from "./process.mjs";

/** How to run apt-get without being asked anything, or undefined where that is not possible. */
function aptGet() {
  if (which("apt-get") === undefined) return undefined;
  const command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
  if (process.getuid?.() === 0) return command;
  return capture("sudo", ["-n", "true"]).ok ? ["sudo", "-n", ...command] : undefined;
}

/** Installs packages and says whether that worked. Never removes one that is in the way. */
export async function aptInstall(packages) {
  const apt = aptGet();
  if (apt === undefined) return false;
  say(`installing Debian packages: ${packages.join(" ")}`);
  const [command, ...prefix] = apt;
  const quiet = ["-qq", "-o", "DPkg::Lock::Timeout=120"];
  const install = ["install", ...quiet, "--yes", "--no-remove", "--no-install-recommends"];
  return (
    (await succeeds(command, [...prefix, "update", ...quiet])) &&
    (await succeeds(command, [...prefix, ...install, ...packages]))
  );
}

/** Whether all of the packages are installed. */
export function aptInstalled(packages) {
  const { ok, stdout } = capture("dpkg-query", ["-W", "-f", "${db:Status-Status}\n", ...packages]);
  return ok && stdout.split("\n").every((status) => status === "installed");
}
