// A client of the npm package `smpp`: node esme.js PORT NUMBER USERDATA_HEX. Prints what it is answered and sent.
const smpp = require('smpp');

const [port, number, data] = process.argv.slice(2);
const say = (object) => console.log(JSON.stringify(object));
const session = smpp.connect({ host: '127.0.0.1', port: Number(port) });

session.on('error', (error) => say({ error: String(error) }));
session.on('deliver_sm', (pdu) => {
  const { udh, message } = pdu.short_message;
  const header = udh ? Buffer.concat(udh) : null;
  say({
    from: pdu.source_addr,
    esm_class: pdu.esm_class,
    receipted: pdu.receipted_message_id,
    state: pdu.message_state,
    text: udh ? null : String(message),
    data: udh ? Buffer.concat([Buffer.from([header.length]), header, message]).toString('hex') : null,
  });
  session.send(pdu.response());
});

session.on('connect', () => {
  session.bind_transceiver({ system_id: 'ota', password: 'wrong' }, (refused) => {
    say({ bind: refused.command_status });
    session.bind_transceiver({ system_id: 'ota', password: 'secret' }, (bound) => {
      say({ bind: bound.command_status, system_id: bound.system_id });
      session.enquire_link((alive) => say({ enquire_link: alive.command_status }));
      session.query_sm({ message_id: '1' }, (nack) => say({ query: nack.command, status: nack.command_status }));
      const message = {
        source_addr: '12345',
        dest_addr_ton: 1,
        dest_addr_npi: 1,
        destination_addr: number,
        esm_class: smpp.ESM_CLASS.UDH_INDICATOR,
        protocol_id: 0x7f,
        data_coding: 0xf6,
        registered_delivery: 1,
        short_message: Buffer.from(data, 'hex'),
      };
      session.submit_sm(message, (answer) => say({ submit: answer.command_status, id: answer.message_id }));
      session.submit_sm({ ...message, destination_addr: '999' }, (answer) => say({ unknown: answer.command_status }));
    });
  });
});

process.stdin.on('data', () => session.unbind(() => process.exit(0)));
