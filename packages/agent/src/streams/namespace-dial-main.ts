/**
 * Runs inside a network's namespace: connects where the agent says and hands the connection over. A socket belongs to the namespace it was made in,
 * whoever has it; the agent itself never leaves its own.
 */
import { connect } from 'node:net';

process.on('message', ({ id, host, port, timeoutMs }: { id: number; host: string; port: number; timeoutMs: number }) => {
  const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 });
  // Whatever comes is for the agent to read.
  socket.pause();
  const fail = (code: string): void => {
    clearTimeout(timer);
    socket.destroy();
    process.send?.({ id, code });
  };
  const timer = setTimeout(() => fail('ETIMEDOUT'), timeoutMs);
  const onError = (error: NodeJS.ErrnoException): void => fail(error.code ?? error.message);
  socket.once('error', onError);
  socket.once('connect', () => {
    clearTimeout(timer);
    socket.off('error', onError);
    process.send?.({ id }, socket);
  });
});
process.on('disconnect', () => process.exit(0));
