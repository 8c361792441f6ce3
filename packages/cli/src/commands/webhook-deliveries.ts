import { tableText } from '../output/table.js';
import { ageText } from '../output/units.js';
import type { Session } from '../session.js';
import { deliveriesOf } from './webhook-act.js';

/** The newest first, as the webhook's status keeps them. */
export async function webhookDeliveries(session: Session, name: string): Promise<void> {
  const { terminal, format } = session;
  const deliveries = await deliveriesOf(session, name);
  if (format === 'json') return terminal.out(`${JSON.stringify({ items: deliveries }, null, 2)}\n`);
  if (format === 'name') return terminal.out(deliveries.map(({ id }) => `${id}\n`).join(''));
  const now = terminal.now();
  const rows = deliveries.map(({ id, type, at, attempts, delivered, answer, milliseconds, problem }) => [
    id,
    type,
    `${ageText(at, now)} ago`,
    delivered ? 'yes' : 'no',
    String(attempts),
    answer === undefined ? '' : String(answer),
    `${milliseconds} ms`,
    problem ?? '',
  ]);
  terminal.out(tableText(['ID', 'TYPE', 'AT', 'DELIVERED', 'TRIES', 'ANSWER', 'TOOK', 'PROBLEM'], rows, terminal.columns));
}
