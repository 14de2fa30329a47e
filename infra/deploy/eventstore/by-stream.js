// Links each event of the log into a stream of its aggregate, `hansard.room-GENERAL` and so on, for
// readers that want those. A continuous projection; give it the name of your log's stream.
fromStream('hansard').when({
  $any: function (state, event) {
    if (event.metadata && event.metadata.stream && !event.metadata.event) {
      linkTo('hansard.' + event.metadata.stream, event);
    }
  },
});
