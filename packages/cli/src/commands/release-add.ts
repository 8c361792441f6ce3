import { basename } from 'node:path';
import { type AgentReleaseSpec, agentRelease, namePattern, Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { createLiveLine } from '../output/live-line.js';
import type { Session, Target } from '../session.js';
import { digestOfFile, sendFile, sizeOfFile } from './file-content.js';

export interface ReleaseFlags {
  readonly name?: string;
  readonly timeout?: string;
}

/** Brings a release of the agent in, from the tarball that it comes as. Repeating it after a cut goes on where it stopped. */
export async function releaseAdd(session: Session, path: string, flags: ReleaseFlags): Promise<void> {
  const { terminal } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const name = flags.name ?? nameFrom(path);
  const target: Target = { kind: agentRelease, address: { name } };
  const line = createLiveLine(terminal);
  try {
    const sizeBytes = await sizeOfFile(path);
    const sha256 = await digestOfFile(terminal, path, sizeBytes, line);
    const spec: AgentReleaseSpec = { upload: { sizeBytes, sha256 } };
    const { resource } = await session.patientClient.put(agentRelease, target.address, { spec });
    const phase = resource.status?.phase;
    if (phase !== 'ready' && phase !== 'refused') await sendFile(session, target, path, line);
    await awaitGoal(session, target, goalFromText('phase=ready'), { timeoutSeconds });
  } finally {
    line.end();
  }
  const { status } = await session.client.get(agentRelease, target.address);
  terminal.out(
    session.format === 'name'
      ? `agent-release/${name}\n`
      : `agent-release/${name} ready: virt8ra-agent ${status?.version} for ${status?.architecture}\n`,
  );
}

/** `0.2.0-linux-amd64` of `virt8ra-agent-0.2.0-linux-amd64.tar.gz`. */
function nameFrom(path: string): string {
  const name = basename(path)
    .replace(/\.(tar\.gz|tgz)$/, '')
    .replace(/^virt8ra-agent-/, '')
    .toLowerCase();
  if (new RegExp(namePattern).test(name)) return name;
  throw new Problem('invalid-request', `${JSON.stringify(name)} cannot be a name; give one with --name`);
}
