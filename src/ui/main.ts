document.querySelector('#app')!.textContent = 'Hone';
