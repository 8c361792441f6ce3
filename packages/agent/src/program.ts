import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Problem, toProblem } from '@virt8ra/contract';
import { enrolHost, startAgent } from './agent.js';
import { type ConfigInput, parseConfig } from './config.js';
import { createLog } from './log.js';
import { agentVersion } from './version.js';

const help = `virt8ra-agent ${agentVersion}: runs guests on this host for a Virt8ra control plane

Usage
  virt8ra-agent enrol --server URL --token TOKEN --ca-sha256 HEX [options]
  virt8ra-agent run [options]          with the three options above: enrols first if there is no certificate yet

Options (each also as an environment variable: --data-address is VIRT8RA_AGENT_DATA_ADDRESS)
  --server URL             the control plane's agents' port, such as https://control.example:8481
  --token TOKEN            single-use enrolment token
  --token-file FILE        the same, from a file, so that it does not stand in the process list
  --ca-sha256 HEX          SHA-256 of the control plane's CA certificate
  --state DIR              state directory (root: /var/lib/virt8ra-agent, else $XDG_STATE_HOME/virt8ra-agent)
  --network MODE           auto, bridge (needs root) or user                       [auto]
  --data-address ADDRESS   where transfers and exposed ports listen                [the address that reaches the server]
  --data-ports A-B         ports they may take                                     [any free one]
  --reserve-memory-mib N   memory that guests may not use                          [512]
  --reserve-storage-gib N  disk space that volumes may not use                     [2]
  --vcpu-per-thread N      virtual CPUs offered for each hardware thread           [4]
  --shutdown-seconds N     time a guest has to shut down by itself                 [30]
  --log-level LEVEL        debug, info, warn, error                                [info]
  --help, --version

Guests go on running when the agent stops; the next start adopts them.
`;

const text = { type: 'string' } as const;
const options = {
  server: text,
  token: text,
  'token-file': text,
  'ca-sha256': text,
  state: text,
  network: text,
  'data-address': text,
  'data-ports': text,
  'reserve-memory-mib': text,
  'reserve-storage-gib': text,
  'vcpu-per-thread': text,
  'shutdown-seconds': text,
  'log-level': text,
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/** The agent as a program: reads its arguments, enrols or runs, and ends the process with the exit code of what went wrong. */
export async function runProgram(): Promise<void> {
  await run().catch(fail);
}

async function run(): Promise<void> {
  const { values, positionals } = readArguments();
  const [command, surplus] = positionals;
  if (values.version === true) return void process.stdout.write(`${agentVersion}\n`);
  if (values.help === true) return void process.stdout.write(help);
  if (command === undefined || surplus !== undefined || !['enrol', 'run'].includes(command)) {
    throw new Problem(
      'invalid-request',
      `${command === undefined ? 'a command is missing' : `unknown command: ${surplus ?? command}`}. Write \`virt8ra-agent run\` or \`virt8ra-agent enrol\`; --help shows the options.`,
    );
  }
  const { help: _, version: __, ...given } = values;
  const config = parseConfig(given satisfies ConfigInput, process.env, readTokenFile, process.getuid?.() ?? 0);
  const log = createLog((line) => process.stderr.write(line), config.logLevel);
  if (command === 'enrol') {
    const identity = await enrolHost(config, log);
    process.stdout.write(
      `This host is ${identity.host} at site ${identity.site}. Start its agent: systemctl start virt8ra-agent where it is installed, else run --state ${config.stateDirectory}\n`,
    );
    return;
  }
  const agent = await startAgent(config, log);
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      log.info('the agent stops; its guests go on', { signal });
      agent.stop().then(
        () => process.exit(0),
        (error: unknown) => fail(error),
      );
    });
  }
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
