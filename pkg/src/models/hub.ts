/**
 * Finds a model's files in a Hugging Face repository.
 *
 * One request to the hub's API tells names, lengths and hashes. Files are then
 * fetched at the commit it names, so that a download resumed after a push to
 * the branch cannot mix two revisions.
 */

import { CacherError } from "../errors.js";
import { request, statusError, type Fetch } from "./http.js";
import { isByteCount, isSha256 } from "./manifest.js";
import type { RemoteFile } from "./resolve.js";
import { selectFiles } from "./select.js";

interface Sibling {
  rfilename?: unknown;
  size?: unknown;
  lfs?: { sha256?: unknown } | null;
}

export async function resolveHub(
  { repo, revision, hub }: { repo: string; revision: string; hub: string },
  fetch: Fetch,
  signal?: AbortSignal,
): Promise<RemoteFile[]> {
  const url = `${hub}api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const response = await request(fetch, url, { signal: signal ?? null });
  // The hub answers 401 for repositories that do not exist, lest it tell which private ones do.
  if (response.status === 401 || response.status === 404) {
    throw new CacherError("not-found", `${hub} has no public model "${repo}" at revision "${revision}"`, {
      url,
      status: response.status,
    });
  }
  if (!response.ok) throw statusError(url, response.status);

  const answer = (await response.json().catch(() => null)) as { sha?: unknown; siblings?: unknown } | null;
  if (!Array.isArray(answer?.siblings)) {
    throw new CacherError("http-error", `${url}: the answer is not a hub's`, { url, status: response.status });
  }
  const commit = typeof answer.sha === "string" && /^[0-9a-f]{40,64}$/.test(answer.sha) ? answer.sha : revision;
  const siblings = new Map<string, Sibling>();
  for (const sibling of answer.siblings as (Sibling | null)[]) {
    // Files of subfolders belong to other formats (onnx/, coreml/).
    if (typeof sibling?.rfilename === "string" && !sibling.rfilename.includes("/")) {
      siblings.set(sibling.rfilename, sibling);
    }
  }

  return [...selectFiles([...siblings.keys()], `${hub}${repo}`)].map(([name, role]) => {
    const { size, lfs } = siblings.get(name) ?? {};
    return {
      name,
      role,
      url: `${hub}${repo}/resolve/${encodeURIComponent(commit)}/${encodeURIComponent(name)}`,
      bytes: isByteCount(size) ? size : null,
      exact: true,
      sha256: isSha256(lfs?.sha256) ? lfs.sha256 : null,
    };
  });
}
