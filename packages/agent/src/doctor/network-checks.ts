import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { clockFinding, type Finding, found, Problem, toProblem } from '@virt8ra/contract';
import { type Proxies, proxyFor, proxyText } from '@virt8ra/outbound';
import type { AgentConfig } from '../config.js';
import { probe } from '../link/exchange.js';
import type { Identity } from '../link/identity.js';

/** Networks of 1350 bytes need this much beneath their tunnels; IPv6 itself needs the least. */
const mtus = { wanted: 1500, least: 1280 } as const;

export async function checkNetwork(config: AgentConfig, identity: Identity): Promise<readonly Finding[]> {
  const server = new URL(identity.server);
  const findings: Finding[] = [await checkName(server, identity.proxies)];
  const asked = await askServer(identity);
  findings.push(...asked.findings);
  if (asked.localAddress !== undefined) findings.push(await checkMtu(asked.localAddress));
  findings.push(await checkDataPorts(config, config.dataAddress ?? asked.localAddress ?? '127.0.0.1'));
  return findings;
}

async function checkName(server: URL, proxies: Proxies = {}): Promise<Finding> {
  const { hostname } = server;
  const proxy = proxyFor(server, proxies);
  if (proxy !== undefined) return found('network/name', 'pass', `${hostname} is for the proxy ${proxyText(proxy)} to resolve`);
  try {
    const { address } = await lookup(hostname.replace(/^\[|\]$/g, ''));
    return found('network/name', 'pass', `${hostname} is ${address}`);
  } catch (error) {
    const { message } = toProblem(error);
    return found('network/name', 'fail', `${hostname} does not resolve: ${message}`, 'see to DNS or /etc/hosts on this host');
  }
}

/** Asks for an artifact that nobody has: whether the certificate is accepted shows, and what time the server has. */
async function askServer(identity: Identity): Promise<{ readonly findings: readonly Finding[]; readonly localAddress?: string }> {
  const begun = Date.now();
  try {
    const { status, date, localAddress, problem } = await probe(
      new URL(`/agent/v1/artifacts/${'0'.repeat(64)}`, identity.server),
      identity,
    );
    const ended = Date.now();
    const accepted = status === 404 || (status >= 200 && status < 300);
    const answered = accepted
      ? found('network/control-plane', 'pass', `${identity.server} answers, and knows this host as ${identity.host}`)
      : found(
          'network/control-plane',
          'fail',
          `${identity.server} answers ${status}: ${problem ?? 'no reason'}`,
          'enrol the host anew: virt8ra enrol HOST',
        );
    // The header counts whole seconds and was written somewhere between.
    const clock = Number.isNaN(date)
      ? []
      : [clockFinding('host/clock', 'the control plane’s', date + 500 - (begun + ended) / 2, 500 + (ended - begun) / 2)];
    return { findings: [answered, ...clock], ...(localAddress === undefined ? {} : { localAddress }) };
  } catch (error) {
    const { message } = error instanceof Problem ? error : toProblem(error);
    return {
      findings: [
        found(
          'network/control-plane',
          'fail',
          message,
          'let this host reach that address and port; look at the server and at what filters between',
        ),
      ],
    };
  }
}

async function checkMtu(localAddress: string): Promise<Finding> {
  const address = localAddress.replace(/^::ffff:/, '');
  const name = Object.entries(networkInterfaces()).find(([, own]) => own?.some((each) => each.address === address))?.[0];
  if (name === undefined) return found('network/mtu', 'warn', `no interface has ${address}`, 'look at the routes to the control plane');
  const mtu = Number(await readFile(`/sys/class/net/${name}/mtu`, 'utf8').catch(() => 'NaN'));
  const level = !(mtu >= mtus.least) ? 'fail' : mtu < mtus.wanted ? 'warn' : 'pass';
  return found(
    'network/mtu',
    level,
    `${name} carries ${mtu} bytes`,
    `set the MTU of ${name} to ${mtus.wanted} or more; smaller ones break large packets of guests between hosts`,
  );
}

/** Whether something could listen where transfers and exposed ports do. */
async function checkDataPorts({ dataPorts }: AgentConfig, address: string): Promise<Finding> {
  const mend = 'another --data-address or --data-ports; ports must be free, and open to the other hosts';
  const first = dataPorts?.first ?? 0;
  const last = dataPorts?.last ?? 0;
  let reason = '';
  let free = 0;
  for (let port = first; port <= last; port += 1) {
    const fault = await listenFault(address, port);
    if (fault === undefined) free += 1;
    else reason = fault;
  }
  const range = dataPorts === undefined ? 'any free port' : `${free} of ports ${first}-${last}`;
  if (free === 0) return found('network/data-ports', 'fail', `nothing can listen on ${address} at ${range}: ${reason}`, mend);
  return found('network/data-ports', 'pass', `${range} can be listened on at ${address}`);
}

async function listenFault(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', (error) => resolve(error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
