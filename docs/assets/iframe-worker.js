// A page opened from a folder cannot start a worker, so this runs the search in a frame.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) =>
        setTimeout(() => this.onmessage?.({ data: structuredClone(data) }));
      this.loaded = new Promise((loaded) => {
        const script = inside.document.createElement("script");
        script.onload = loaded;
        script.onerror = (event) => this.onerror?.(event);
        script.src = url;
        inside.document.body.append(script);
      });
    }

    async postMessage(data) {
      const message = new MessageEvent("message", { data: structuredClone(data) });
      await this.loaded;
      this.frame.contentWindow?.dispatchEvent(message);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
