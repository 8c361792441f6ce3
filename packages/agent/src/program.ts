import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exitCodeOfFindings, findingsText, Problem, toProblem } from '@virt8ra/contract';
import { startAgent } from './agent.js';
import { type AgentConfig, type ConfigInput, parseConfig } from './config.js';
import { readLedger } from './desired/ledger.js';
import { enrolHost } from './link/enrol-host.js';
import { createLog } from './log.js';
import { openLogFile } from './log-file.js';
import { switchExitCode } from './release/updater.js';
import { agentVersion } from './version.js';

const help = `virt8ra-agent ${agentVersion}: runs guests on this host for a Virt8ra control plane

Usage
  virt8ra-agent enrol --server URL --token TOKEN --ca-sha256 HEX [options]
  virt8ra-agent run [options]          with the three options above: enrols first if there is no certificate yet
  virt8ra-agent doctor [-o json]       looks at host, hypervisor, state and network; ends with 1 when something fails
  virt8ra-agent support-bundle FILE    packs what helps to help, without secrets, as FILE.tar.gz

Options (each also as an environment variable: --data-address is VIRT8RA_AGENT_DATA_ADDRESS)
  --server URL             the control plane's agents' port, such as https://control.example:8481
  --token TOKEN            single-use enrolment token
  --token-file FILE        the same, from a file, so that it does not stand in the process list
  --ca-sha256 HEX          SHA-256 of the control plane's CA certificate
  --proxy URL              http://[USER:PASSWORD@]HOST:PORT before the control plane, or none  [that of the enrolment, else HTTPS_PROXY]
  --no-proxy LIST          hosts that are reached without it                       [NO_PROXY]
  --state DIR              state directory (root: /var/lib/virt8ra-agent, else $XDG_STATE_HOME/virt8ra-agent)
  --network MODE           auto, bridge (needs root) or user                       [auto]
  --data-address ADDRESS   where transfers and exposed ports listen                [the address that reaches the server]
  --data-ports A-B         ports they may take                                     [any free one]
  --overlay MODE           auto, userspace (wireguard-go) or off: networks that span machines       [auto]
  --overlay-port N         UDP port of the tunnels to other hosts                  [8482]
  --overlay-endpoint LIST  ADDRESS:PORT at which other hosts reach it, behind NAT  [the data address and those of the NICs]
  --overlay-key-days N     age at which the tunnels' key is changed                [30]
  --updates MODE           command (the control plane's operator may have another release run) or off      [command]
  --reserve-memory-mib N   memory that guests may not use                          [512]
  --reserve-storage-gib N  disk space that volumes may not use                     [2]
  --storage WHERE          directory (of the state), or thin-pool:GROUP/POOL of LVM (needs root)    [directory]
  --vcpu-per-thread N      virtual CPUs offered for each hardware thread           [4]
  --dedicated-cpus LIST    hardware threads such as 2-7,10 for guests that have theirs for themselves [none]
  --pci-devices LIST       PCI devices for guests: ids (10de:27b8, with a GPU's name 10de:27b8=L4/24), addresses, class:0108  [none]
  --pci-release MODE       a device that a guest gives back: keep it ready for guests, or driver (it gets back the one it had) [keep]
  --shutdown-seconds N     time a guest has to shut down by itself                 [30]
  --log-level LEVEL        debug, info, warn, error                                [info]
  --log-file FILE          instead of standard error; at most 40 MiB with FILE.1 to FILE.4
  -o, --output FORMAT      of doctor: text or json                                 [text]
  --help, --version

Guests go on running when the agent stops; the next start adopts them.
`;

const text = { type: 'string' } as const;
const options = {
  server: text,
  token: text,
  'token-file': text,
  'ca-sha256': text,
  proxy: text,
  'no-proxy': text,
  state: text,
  network: text,
  overlay: text,
  updates: text,
  'overlay-port': text,
  'overlay-endpoint': text,
  'overlay-key-days': text,
  'data-address': text,
  'data-ports': text,
  'reserve-memory-mib': text,
  'reserve-storage-gib': text,
  storage: text,
  'vcpu-per-thread': text,
  'dedicated-cpus': text,
  'pci-devices': text,
  'pci-release': text,
  'shutdown-seconds': text,
  'log-level': text,
  'log-file': text,
  output: { type: 'string', short: 'o' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/** The agent as a program: reads its arguments, enrols or runs, and ends the process with the exit code of what went wrong. */
export async function runProgram(): Promise<void> {
  await run().catch(fail);
}

async function run(): Promise<void> {
  const { values, positionals } = readArguments();
  const [command, file, surplus] = positionals;
  if (values.version === true) return void process.stdout.write(`${agentVersion}\n`);
  if (values.help === true) return void process.stdout.write(help);
  assertCommand(command, file, surplus);
  const { help: _, version: __, output, ...given } = values;
  const config = parseConfig(given satisfies ConfigInput, process.env, readTokenFile, process.getuid?.() ?? 0);
  if (command === 'doctor') return await doctor(config, output);
  if (command === 'preflight') return await preflight(config);
  if (command === 'support-bundle') return await supportBundle(config, file ?? '');
  const log = createLog(config.logFile === undefined ? (line) => process.stderr.write(line) : openLogFile(config.logFile), config.logLevel);
  if (command === 'enrol') {
    const identity = await enrolHost(config, log);
    process.stdout.write(
      `This host is ${identity.host} at site ${identity.site}. Start its agent: systemctl start virt8ra-agent where it is installed, else run --state ${config.stateDirectory}\n`,
    );
    return;
  }
  const agent = await startAgent(config, log);
  let stopping = false;
  const stop = (exitCode: number) => {
    if (stopping) return;
    stopping = true;
    agent.stop().then(
      () => process.exit(exitCode),
      (error: unknown) => fail(error),
    );
  };
  void agent.switching.then(() => stop(switchExitCode));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (!stopping) log.info('the agent stops; its guests go on', { signal });
      stop(0);
    });
  }
}

/** `preflight` is asked by the agent that runs, before it gives way to this release. */
const commands = ['enrol', 'run', 'doctor', 'support-bundle', 'preflight'];

function assertCommand(command: string | undefined, file: string | undefined, surplus: string | undefined): void {
  const listed = `Write virt8ra-agent ${commands.filter((each) => each !== 'preflight').join(', ')}; --help shows the options.`;
  if (command === undefined) throw new Problem('invalid-request', `a command is missing. ${listed}`);
  if (!commands.includes(command)) throw new Problem('invalid-request', `unknown command: ${command}. ${listed}`);
  const one = command === 'support-bundle';
  if (one && file === undefined) throw new Problem('invalid-request', 'name the file to write: virt8ra-agent support-bundle FILE.tar.gz');
  const more = one ? surplus : file;
  if (more !== undefined) throw new Problem('invalid-request', `${command} takes no ${more}. ${listed}`);
}

async function doctor(config: AgentConfig, output = 'text'): Promise<void> {
  if (output !== 'text' && output !== 'json') throw new Problem('validation', `--output must be text or json, not ${output}`);
  // Loaded only here: an agent that runs never needs it.
  const { examineHost } = await import('./doctor/doctor.js');
  const findings = await examineHost(config);
  process.stdout.write(output === 'json' ? `${JSON.stringify(findings, undefined, 2)}\n` : findingsText(findings));
  process.exitCode = exitCodeOfFindings(findings);
}

/** Whether this release can take over the state directory; looks and changes nothing. Its own version is the answer. */
async function preflight(config: AgentConfig): Promise<void> {
  await readLedger(join(config.stateDirectory, 'ledger.json')).catch((cause: unknown) => {
    throw new Problem('unsupported', `release ${agentVersion} cannot read the ledger of this host, which a newer one wrote`, { cause });
  });
  process.stdout.write(`${agentVersion}\n`);
}

async function supportBundle(config: AgentConfig, file: string): Promise<void> {
  const { writeSupportBundle } = await import('./doctor/support-bundle.js');
  const parts = await writeSupportBundle(config, file);
  process.stdout.write(
    `${file} holds ${parts.length} files: ${parts.join(', ')}\nSecrets are masked; look through it before you hand it on.\n`,
  );
}

function readArguments() {
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new Problem('invalid-request', `${error instanceof Error ? error.message : String(error)}. --help shows the options.`);
  }
}

function readTokenFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Problem('validation', `--token-file ${path} cannot be read`, { cause });
  }
}

function fail(error: unknown): void {
  const problem = toProblem(error);
  process.stderr.write(`virt8ra-agent: ${problem.message}\n${problem.kind === 'internal' ? `${problem.stack ?? ''}\n` : ''}`);
  process.exit(problem.exitCode);
}
