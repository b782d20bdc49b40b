// A short message centre of the npm package `smpp`. Prints what it is sent, one JSON object a line; what it reads on
// stdin, one JSON object a line with `number` and hex `data`, it sends back as deliver_sm.
const smpp = require('smpp');
const readline = require('readline');

const say = (object) => console.log(JSON.stringify(object));
let bound = null;
let submitted = 0;

const server = smpp.createServer((session) => {
  session.on('error', () => {});
  session.on('bind_transceiver', (pdu) => {
    if (pdu.password !== 'secret') {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      return;
    }
    bound = session;
    say({ bound: pdu.system_id, version: pdu.interface_version });
    session.send(pdu.response({ system_id: 'foreign' }));
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    say({ unbound: true });
    session.send(pdu.response());
  });
  session.on('submit_sm', (pdu) => {
    submitted += 1;
    if (submitted === 1) {
      session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
      return;
    }
    const id = `F${submitted}`;
    session.send(pdu.response({ message_id: id }));
    const header = Buffer.concat(pdu.short_message.udh);
    const data = Buffer.concat([Buffer.from([header.length]), header, pdu.short_message.message]);
    say({
      from: pdu.source_addr,
      to: pdu.destination_addr,
      esm_class: pdu.esm_class,
      protocol_id: pdu.protocol_id,
      data_coding: pdu.data_coding,
      registered_delivery: pdu.registered_delivery,
      data: data.toString('hex'),
    });
    session.deliver_sm({
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2611201200 done date:2611201200 stat:DELIVRD err:000 text:`,
    });
  });
});

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { number, data } = JSON.parse(line);
  bound.deliver_sm(
    {
      source_addr: number,
      destination_addr: '12345',
      esm_class: smpp.ESM_CLASS.UDH_INDICATOR,
      protocol_id: 0x7f,
      data_coding: 0xf6,
      short_message: Buffer.from(data, 'hex'),
    },
    (answer) => say({ deliver_status: answer.command_status }),
  );
});

server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
