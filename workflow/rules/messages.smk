onsuccess:
    print(messages.success(Path.cwd(), list(EXPERIMENTS)), file=sys.stderr)


onerror:
    print(messages.failure(next(map(Path, log), None), Path.cwd()), file=sys.stderr)
