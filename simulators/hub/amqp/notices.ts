import type { EventContext, Sender } from 'rhea';
import type { Notice, NoticeKind, Notices } from '../notices.ts';
import { dataSection } from './data-section.ts';

/** Sends notices on a link as far as its receiver asks for them; what it does not accept goes back into the queue. */
export function openNoticeLink(sender: Sender, of: { readonly notices: Notices; readonly kind: NoticeKind }): void {
  const { notices, kind } = of;
  const sent = new Map<number, Notice>();
  const pump = (): void => {
    while (sender.is_open() && sender.sendable()) {
      const notice = notices.take(kind);
      if (notice === undefined) return;
      const delivery = sender.send({
        content_type: 'application/vnd.microsoft.iothub.feedback.json',
        body: dataSection(JSON.stringify(notice.body)),
      });
      sent.set(delivery.id, notice);
    }
  };
  const onWaiting = (waiting: NoticeKind): void => {
    if (waiting === kind) pump();
  };
  const settle = ({ delivery }: EventContext, isAccepted: boolean): void => {
    const notice = delivery === undefined ? undefined : sent.get(delivery.id);
    if (delivery === undefined || notice === undefined) return;
    sent.delete(delivery.id);
    notices.settle(notice, isAccepted);
  };
  sender.on('sendable', pump);
  sender.on('accepted', (context: EventContext) => settle(context, true));
  // Rejected for good, as the real queue does; released and modified are given again.
  sender.on('rejected', (context: EventContext) => settle(context, true));
  sender.on('released', (context: EventContext) => settle(context, false));
  sender.on('modified', (context: EventContext) => settle(context, false));
  notices.events.on('waiting', onWaiting);
  const end = (): void => {
    notices.events.off('waiting', onWaiting);
    for (const notice of sent.values()) notices.settle(notice, false);
    sent.clear();
  };
  sender.once('sender_close', end);
  sender.connection.once('disconnected', end);
  sender.connection.once('connection_close', end);
  pump();
}
