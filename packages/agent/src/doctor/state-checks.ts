import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { type Finding, found, lifetimeFinding, toProblem } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { readLedger } from '../desired/ledger.js';
import { livingHolder } from '../disk/state-lock.js';
import type { Identity } from '../link/identity.js';
import { readPermitJournal } from '../permits/permit-journal.js';

export async function checkState({ stateDirectory }: AgentConfig, identity: Identity | undefined): Promise<readonly Finding[]> {
  const pid = await livingHolder(join(stateDirectory, 'agent.pid'));
  return [
    pid === undefined
      ? found(
          'state/agent',
          'warn',
          `no agent runs on ${stateDirectory}`,
          'systemctl start virt8ra-agent; journalctl -u virt8ra-agent says why it ended',
        )
      : found('state/agent', 'pass', `the agent runs, process ${pid}`),
    await checkLedger(stateDirectory),
    await checkPermits(stateDirectory),
    ...(identity === undefined ? [] : checkCertificates(identity)),
  ];
}

async function checkLedger(stateDirectory: string): Promise<Finding> {
  try {
    const { epoch, state } = await readLedger(join(stateDirectory, 'ledger.json'));
    if (epoch === null) return found('state/ledger', 'pass', 'nothing was desired of this host yet');
    const { generation, instances, volumes, networks, transfers, maintenance } = state;
    const objects = `${instances.length} instances, ${volumes.length} volumes, ${networks.length} networks, ${transfers.length} transfers`;
    if (maintenance === true)
      return found(
        'state/ledger',
        'warn',
        `generation ${generation}: ${objects}; in maintenance, no guest is started`,
        'virt8ra uncordon HOST ends that',
      );
    return found('state/ledger', 'pass', `generation ${generation}: ${objects}`);
  } catch (error) {
    return found(
      'state/ledger',
      'fail',
      toProblem(error).message,
      'start the agent: it puts a damaged one aside, keeps what is here, and the control plane sends the whole state again',
    );
  }
}

async function checkPermits(stateDirectory: string): Promise<Finding> {
  try {
    const entries = await readPermitJournal(join(stateDirectory, 'permits.jsonl'));
    return found('state/permits', 'pass', `${entries.length} entries in the permit journal`);
  } catch (error) {
    return found(
      'state/permits',
      'fail',
      toProblem(error).message,
      'never edit or restore this file; start the agent: it puts a copy aside, and what does not run waits for the control plane’s word',
    );
  }
}

function checkCertificates({ certificate, ca }: Identity): readonly Finding[] {
  const life = (pem: string, renews: boolean) => {
    const { validFrom, validTo } = new X509Certificate(pem);
    return { from: Date.parse(validFrom), until: Date.parse(validTo), now: Date.now(), renews };
  };
  return [
    lifetimeFinding(
      'identity/certificate',
      'the certificate of this host',
      life(certificate, true),
      'the agent renews it in the middle of its life: see network/control-plane',
    ),
    lifetimeFinding(
      'identity/authority',
      'the control plane’s CA',
      life(ca, false),
      'the control plane needs a new CA, and every host a new enrolment',
    ),
  ];
}
